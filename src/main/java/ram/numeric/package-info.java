/// Kernels on arrays of numbers, in vectors or in scalars with the same results to the bit; matrix products; worker threads.
package ram.numeric;
