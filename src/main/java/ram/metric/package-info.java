/// Metrics of one matrix from its weights alone, and its error in every format.
package ram.metric;
