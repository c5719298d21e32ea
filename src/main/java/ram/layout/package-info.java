/// A checkpoint as mlx_lm will load it: config.json, the rules of each model family, modules and their kinds.
package ram.layout;
