package ram.cli;

import java.util.Collection;
import java.util.Locale;

/// Finds what a mistyped word was meant to be.
final class Suggestion {
    private Suggestion() {
    }

    /// The part of a sentence that names the closest of the known words, or nothing when none is close.
    static String of(String typed, Collection<String> known) {
        String best = null;
        int length = bare(typed).length();
        int least = length < 2 ? 0 : Math.clamp(length / 3, 1, 3) + 1;
        for (String word : known) {
            int distance = distance(bare(typed), bare(word));
            if (distance < least) {
                least = distance;
                best = word;
            }
        }
        if (best == null && length >= 3) {
            best = known.stream().filter(w -> bare(w).startsWith(bare(typed))).findFirst().orElse(null);
        }
        return best == null ? "" : "; did you mean '" + best + "'?";
    }

    private static String bare(String word) {
        return word.replaceFirst("^-+", "").toLowerCase(Locale.ROOT);
    }

    /// How many letters have to be left out, put in, changed or swapped with their neighbour.
    static int distance(String a, String b) {
        int[][] d = new int[a.length() + 1][b.length() + 1];
        for (int i = 0; i <= a.length(); i++) {
            for (int j = 0; j <= b.length(); j++) {
                if (i == 0 || j == 0) {
                    d[i][j] = i + j;
                    continue;
                }
                int changed = d[i - 1][j - 1] + (a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1);
                d[i][j] = Math.min(changed, 1 + Math.min(d[i - 1][j], d[i][j - 1]));
                if (i > 1 && j > 1 && a.charAt(i - 1) == b.charAt(j - 2) && a.charAt(i - 2) == b.charAt(j - 1)) {
                    d[i][j] = Math.min(d[i][j], 1 + d[i - 2][j - 2]);
                }
            }
        }
        return d[a.length()][b.length()];
    }
}
