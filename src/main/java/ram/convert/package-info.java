/// Writes the MLX checkpoint: shards, config.json, index and what else belongs in the folder.
package ram.convert;
