/// What MLX stores for a weight: formats, their codes, scales and biases, and the quantizers that choose them.
package ram.format;
