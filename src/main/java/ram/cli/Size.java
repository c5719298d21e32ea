package ram.cli;

/// A size given on the command line, such as `16GB`.
record Size(long bytes) {
}
