/// The analysis of a model, one profile per checkpoint: run, kept in a journal on the way, written and read as JSON.
package ram.profile;
