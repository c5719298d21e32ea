/// The finished steps of a long run, kept in a file so that the run goes on where it was stopped, and the digest of all that they depend on.
package ram.journal;
