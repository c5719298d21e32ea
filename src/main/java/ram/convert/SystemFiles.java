package ram.convert;

import java.util.Set;

/// Files that nobody put into a folder: what the systems' file managers leave everywhere. No loader looks at them.
public final class SystemFiles {
    private static final Set<String> NAMES = Set.of(".DS_Store", "Thumbs.db");
    /// What macOS keeps of a file where the file system has no place for it, as on exFAT and SMB: beside `config.json` lies `._config.json`.
    private static final String ASIDE = "._";

    private SystemFiles() {
    }

    /// Whether a file of this name is one of them.
    public static boolean contain(String name) {
        return NAMES.contains(name) || name.startsWith(ASIDE);
    }
}
