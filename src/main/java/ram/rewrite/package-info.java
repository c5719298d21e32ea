/// Changes of the weights that leave the function of a model as it is, made before anything is measured.
package ram.rewrite;
