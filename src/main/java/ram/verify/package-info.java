/// Proves a written folder: that mlx_lm loads it, and that every number follows from the source.
package ram.verify;
