/// The program's JSON documents: strict reading of untrusted ones, deterministic writing, and the parts that stand in several.
package ram.document;
