package ram.cli;

import java.io.PrintWriter;
import java.util.Locale;
import java.util.concurrent.atomic.AtomicLong;

/// Progress of one stage on stderr: a live line on a terminal, a plain line every few seconds otherwise, nothing when switched off.
/// Work is counted in bytes of source unless said otherwise; [#advance] may be called from any thread.
final class Progress implements AutoCloseable {
    /// How progress is shown.
    enum Style { LIVE, LINES, OFF }

    private static final long LIVE_INTERVAL = 100_000_000L;
    private static final long LINE_INTERVAL = 5_000_000_000L;

    private final PrintWriter err;
    private final Style style;
    private final String stage;
    private final long total;
    private final String unit;
    private final double perUnit;
    private final long started = System.nanoTime();
    private final AtomicLong done = new AtomicLong();
    private long shown = started;
    private boolean drawn;

    Progress(PrintWriter err, Style style, String stage, long total) {
        this(err, style, stage, total, "GB/s", 1e9);
    }

    /// @param unit what the rate is shown in
    /// @param perUnit how much work makes one of it per second
    Progress(PrintWriter err, Style style, String stage, long total, String unit, double perUnit) {
        this.err = err;
        this.style = style;
        this.stage = stage;
        this.total = total;
        this.unit = unit;
        this.perUnit = perUnit;
    }

    void advance(long bytes) {
        long now = done.addAndGet(bytes);
        if (style == Style.OFF) {
            return;
        }
        synchronized (this) {
            long time = System.nanoTime();
            if (time - shown >= (style == Style.LIVE ? LIVE_INTERVAL : LINE_INTERVAL)) {
                shown = time;
                show(now, time);
            }
        }
    }

    private void show(long now, long time) {
        double seconds = (time - started) / 1e9;
        double rate = now / seconds;
        double left = rate > 0 ? (total - now) / rate : 0;
        String text = String.format(Locale.ROOT, "%s  %3d %%  %.2f %s  %s left", stage, total == 0 ? 100 : Math.min(100, now * 100 / total), rate / perUnit, unit, duration(left));
        if (style == Style.LIVE) {
            err.print("\r\u001b[K" + text);
            err.flush();
            drawn = true;
        } else {
            err.println(text);
        }
    }

    static String duration(double seconds) {
        long s = Math.round(Math.max(0, seconds));
        return s < 60 ? s + " s" : s < 3600 ? s / 60 + " min " + s % 60 + " s" : s / 3600 + " h " + s % 3600 / 60 + " min";
    }

    /// Removes the live line.
    @Override
    public synchronized void close() {
        if (drawn) {
            err.print("\r\u001b[K");
            err.flush();
            drawn = false;
        }
    }
}
