/// Safetensors containers: headers, shards, mapped data, and the files that are written.
package ram.safetensors;
