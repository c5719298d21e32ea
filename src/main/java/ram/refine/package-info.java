/// Codes linear modules with second-order error compensation: what a coded column got wrong is made up for by the columns that follow,
/// as far as the inputs of the module are correlated. The inputs are those of text that the model samples from itself, or of tokens from a file.
package ram.refine;
