/// What people look at: the HTML report, differences between manifests, the gate.
package ram.report;
