package ram.cli;

import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.List;

/// Rows of text in aligned columns, two spaces between them, no trailing blanks, no empty columns.
final class Table {
    private final List<Boolean> right = new ArrayList<>();
    private final List<List<String>> rows = new ArrayList<>();

    /// @param header one title per column; a leading `>` aligns the column to the right
    Table(String... header) {
        List<String> titles = new ArrayList<>();
        for (String title : header) {
            right.add(title.startsWith(">"));
            titles.add(title.startsWith(">") ? title.substring(1) : title);
        }
        rows.add(titles);
    }

    Table row(Object... cells) {
        if (cells.length != right.size()) {
            throw new IllegalArgumentException(cells.length + " cells in a table of " + right.size() + " columns");
        }
        List<String> row = new ArrayList<>();
        for (Object cell : cells) {
            row.add(Lines.visible(String.valueOf(cell)));
        }
        rows.add(row);
        return this;
    }

    void print(PrintWriter out) {
        int[] width = new int[right.size()];
        for (List<String> row : rows) {
            for (int c = 0; c < width.length; c++) {
                width[c] = Math.max(width[c], row.get(c).codePointCount(0, row.get(c).length()));
            }
        }
        for (List<String> row : rows) {
            StringBuilder line = new StringBuilder();
            for (int c = 0; c < width.length; c++) {
                if (width[c] == 0) {
                    continue;
                }
                String cell = row.get(c);
                String blanks = " ".repeat(width[c] - cell.codePointCount(0, cell.length()));
                line.append(c == 0 ? "" : "  ").append(right.get(c) ? blanks + cell : cell + blanks);
            }
            out.println(line.toString().stripTrailing());
        }
    }
}
