/// The forward pass on the CPU, perplexity and KL divergence.
package ram.eval;
