package ram.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.List;
import java.util.Random;
import java.util.concurrent.atomic.AtomicLong;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/// Progress with a clock of its own: what is shown can be believed.
class ProgressTest {
    private static final Pattern PERCENT = Pattern.compile("(\\d+) %");

    private final StringWriter shown = new StringWriter();
    private final AtomicLong clock = new AtomicLong(1);

    private Progress progress(Progress.Style style, long total) {
        return new Progress(new PrintWriter(shown, true), style, "measure", total, "items/s", 1, clock::get);
    }

    private void pass(double seconds) {
        clock.addAndGet(Math.round(seconds * 1e9));
    }

    private List<Integer> percents() {
        return PERCENT.matcher(shown.toString()).results().map(m -> Integer.parseInt(m.group(1))).toList();
    }

    @Test
    void showsPercentRateAndTimeLeft() {
        try (Progress p = progress(Progress.Style.LINES, 1000)) {
            for (int i = 0; i < 10; i++) {
                pass(6);
                p.advance(60);
            }
        }
        List<String> lines = shown.toString().lines().toList();
        assertEquals(10, lines.size());
        assertEquals("measure    6 %  10.00 items/s  1 min 34 s left", lines.getFirst());
        assertEquals("measure   60 %  10.00 items/s  40 s left", lines.getLast());
    }

    @ParameterizedTest
    @EnumSource(names = "OFF", mode = EnumSource.Mode.EXCLUDE)
    void neverGoesBackAndNeverBeyondAHundredPercent(Progress.Style style) {
        Random random = new Random(7);
        try (Progress p = progress(style, 1000)) {
            for (int i = 0; i < 300; i++) {
                pass(random.nextDouble(6));
                if (random.nextBoolean()) {
                    p.advance(random.nextInt(-2, 11));
                } else {
                    p.reach(random.nextDouble());
                }
            }
        }
        List<Integer> percents = percents();
        assertTrue(percents.size() > 100);
        assertEquals(percents.stream().sorted().toList(), percents);
        assertEquals(100, percents.getLast());
        assertFalse(shown.toString().contains("-"), shown.toString());
    }

    @Test
    void aHundredPercentIsShownWhenAllIsDoneAndNotBefore() {
        try (Progress p = progress(Progress.Style.LINES, 1000)) {
            pass(6);
            p.advance(999);
            pass(6);
            p.advance(1);
        }
        assertEquals(List.of(99, 100), percents());
        assertTrue(shown.toString().endsWith("  0 s left\n"), shown.toString());
    }

    @Test
    void oneSlowPieceDoesNotThrowTheTimeLeft() {
        try (Progress p = progress(Progress.Style.LINES, 10_000)) {
            for (int i = 0; i < 20; i++) {
                pass(6);
                p.advance(60);
            }
            pass(6);
            p.advance(6);
        }
        // At the rate of the last piece alone it would be more than two hours.
        double rate = Double.parseDouble(shown.toString().lines().toList().getLast().replaceFirst(".*% +([0-9.]+) .*", "$1"));
        assertTrue(rate > 7 && rate < 10, shown.toString());
    }

    @Test
    void timeStartsWhenTheStageBegins() {
        try (Progress p = progress(Progress.Style.LINES, 100)) {
            pass(1000);
            p.begin();
            pass(10);
            p.reach(0.5);
        }
        assertEquals("measure   50 %  5.00 items/s  10 s left\n", shown.toString());
    }

    @Test
    void whatWasPreparedBeforeTheFirstPieceDoesNotSlowTheRate() {
        try (Progress p = progress(Progress.Style.LINES, 1000)) {
            pass(600);
            p.advance(1);
            for (int i = 0; i < 3; i++) {
                pass(6);
                p.advance(60);
            }
        }
        List<String> lines = shown.toString().lines().toList();
        assertEquals("measure    0 %  0.00 items/s", lines.getFirst());
        assertEquals("measure    6 %  10.00 items/s  1 min 34 s left", lines.get(1));
        assertEquals("measure   18 %  10.00 items/s  1 min 22 s left", lines.getLast());
    }

    /// Two percent of a large model may take long, but ten seconds of work tell as much.
    @ParameterizedTest
    @EnumSource(names = "OFF", mode = EnumSource.Mode.EXCLUDE)
    void noTimeLeftIsGuessedFromNextToNothing(Progress.Style style) {
        try (Progress p = progress(style, 1_000_000)) {
            for (int i = 0; i < 20; i++) {
                pass(1);
                p.advance(100);
            }
            String[] drawn = shown.toString().strip().split("[\r\n]+");
            int guesses = (int) Stream.of(drawn).filter(l -> l.contains("left")).count();
            assertEquals(style == Progress.Style.LIVE ? 10 : 2, guesses, shown.toString());
            assertTrue(drawn[drawn.length - 1].strip().endsWith("0 %  100.00 items/s  2 h 46 min left"), shown.toString());
        }
    }

    @Test
    void theLiveLineHasNoEscapeCodesAndIsRemoved() {
        try (Progress p = progress(Progress.Style.LIVE, 100)) {
            for (int i = 0; i < 10; i++) {
                pass(1);
                p.advance(10);
            }
        }
        assertFalse(shown.toString().contains("\u001b"));
        String[] drawn = shown.toString().split("\r");
        assertEquals(12, drawn.length);
        assertTrue(IntStream.range(2, drawn.length).allMatch(i -> drawn[i].length() >= drawn[i - 1].stripTrailing().length()), "something stays of an older line");
        assertTrue(drawn[11].isBlank() && shown.toString().endsWith("\r"));
    }

    @Test
    void nothingIsShownWhenItIsOff() {
        try (Progress p = progress(Progress.Style.OFF, 100)) {
            pass(60);
            p.advance(50);
        }
        assertEquals("", shown.toString());
    }
}
