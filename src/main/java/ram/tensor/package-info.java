/// Tensors as they are computed from stored ones - stacked, split, transposed, decoded - and read by blocks of rows.
package ram.tensor;
