/// The commands: options, messages, progress, exit codes. What they do is in the other packages.
package ram.cli;
