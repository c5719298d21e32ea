/// Metrics of one matrix from its weights alone.
package ram.metric;
