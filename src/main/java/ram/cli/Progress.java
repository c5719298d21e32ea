package ram.cli;

import java.io.PrintWriter;
import java.util.Locale;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.LongSupplier;

/// Progress of one stage on stderr: a live line on a terminal, a plain line every few seconds otherwise, nothing when switched off.
/// Work is counted in bytes of source unless said otherwise; [#advance] and [#reach] may be called from any thread. What is shown never goes back and
/// never beyond 100 %, which it shows when all is done and not before. The live line is drawn with blanks, not with escape codes.
final class Progress implements AutoCloseable {
    /// How progress is shown.
    enum Style { LIVE, LINES, OFF }

    private static final long LIVE_INTERVAL = 100_000_000L;
    private static final long LINE_INTERVAL = 5_000_000_000L;
    /// Seconds over which the rate is averaged at least, and as a share of the time since the start.
    private static final double LEAST_AVERAGED = 10;
    private static final double AVERAGED = 0.25;
    /// Before so much time and so much of the work, or the time over which the rate is averaged, a guess of the time left would be noise.
    private static final double SECONDS_TO_GUESS = 1;
    private static final double SHARE_TO_GUESS = 0.02;
    private static final long NOTHING_YET = -1;

    private final PrintWriter err;
    private final Style style;
    private final String stage;
    private final long total;
    private final String unit;
    private final double perUnit;
    private final LongSupplier nanoTime;
    private final AtomicLong done = new AtomicLong();
    private long started;
    private long first;
    private long firstDone;
    private long checked;
    private long counted;
    private double rate;
    private int drawn;

    Progress(PrintWriter err, Style style, String stage, long total) {
        this(err, style, stage, total, total < 1e9 ? "MB/s" : "GB/s", total < 1e9 ? 1e6 : 1e9);
    }

    /// @param unit what the rate is shown in
    /// @param perUnit how much work makes one of it per second
    Progress(PrintWriter err, Style style, String stage, long total, String unit, double perUnit) {
        this(err, style, stage, total, unit, perUnit, System::nanoTime);
    }

    Progress(PrintWriter err, Style style, String stage, long total, String unit, double perUnit, LongSupplier nanoTime) {
        this.err = err;
        this.style = style;
        this.stage = stage;
        this.total = total;
        this.unit = unit;
        this.perUnit = perUnit;
        this.nanoTime = nanoTime;
        begin();
    }

    /// Counts time from here on, where the stage has to wait for something else first.
    synchronized void begin() {
        started = nanoTime.getAsLong();
        checked = started;
        firstDone = NOTHING_YET;
    }

    void advance(long work) {
        done.addAndGet(work);
        update();
    }

    /// @param share of the work that is done in all, 0 to 1
    void reach(double share) {
        done.accumulateAndGet((long) (share * total), Math::max);
        update();
    }

    private void update() {
        if (style == Style.OFF) {
            return;
        }
        synchronized (this) {
            long time = nanoTime.getAsLong();
            if (firstDone == NOTHING_YET) {
                first = time;
                firstDone = Math.max(0, done.get());
            }
            if (time - checked >= (style == Style.LIVE ? LIVE_INTERVAL : LINE_INTERVAL)) {
                show(Math.clamp(done.get(), counted, Math.max(counted, total)), time);
            }
        }
    }

    private void show(long now, long time) {
        double elapsed = (time - started) / 1e9;
        double averaged = (time - first) / 1e9;
        if (averaged == 0) {
            rate = now / elapsed;
        } else if (averaged <= LEAST_AVERAGED) {
            // What was prepared before the first piece was done says nothing of how fast the others are.
            rate = Math.max(0, now - firstDone) / averaged;
        } else {
            double since = (time - checked) / 1e9;
            rate += (1 - Math.exp(-since / Math.max(LEAST_AVERAGED, AVERAGED * averaged))) * ((now - counted) / since - rate);
        }
        counted = now;
        checked = time;
        String text = String.format(Locale.ROOT, "%s  %3d %%  %.2f %s", stage, total == 0 ? 100 : now * 100 / total, rate / perUnit, unit);
        if (rate > 0 && elapsed >= SECONDS_TO_GUESS && (now >= SHARE_TO_GUESS * total || averaged >= LEAST_AVERAGED)) {
            text += "  " + duration((total - now) / rate) + " left";
        }
        if (style == Style.LIVE) {
            err.print("\r" + text + " ".repeat(Math.max(0, drawn - text.length())));
            err.flush();
            drawn = text.length();
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
        if (drawn > 0) {
            err.print("\r" + " ".repeat(drawn) + "\r");
            err.flush();
            drawn = 0;
        }
    }
}
