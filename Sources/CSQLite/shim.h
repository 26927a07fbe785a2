#include <sqlite3.h>

// Swift imports no variadic functions. Without this setting the last connection to close rewrites the file from its
// log, which must not happen to a file that was only looked at.
static inline int pantler_keep_wal_on_close(sqlite3 *database, int keep) {
    return sqlite3_db_config(database, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep, (int *)0);
}
