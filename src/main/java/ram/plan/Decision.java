package ram.plan;

import ram.format.Format;
import ram.plan.Manifest.Why;

/// A module's format and what decided it.
record Decision(Format format, Why why, String reason) {
}
