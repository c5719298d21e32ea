/// One format per module for a number of bytes: candidates, predicted damage, the exact solver, policies, and the manifest that says why.
package ram.plan;
