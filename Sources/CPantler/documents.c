#include "pantler.h"

// Clang takes C23's #embed in every mode, and says so.
#pragma clang diagnostic ignored "-Wc23-extensions"

static const unsigned char openapi[] = {
#embed "../../openapi/openapi.yaml"
};

const unsigned char *pantler_openapi(void) { return openapi; }

size_t pantler_openapi_size(void) { return sizeof openapi; }

#ifndef PANTLER_COMMIT
#define PANTLER_COMMIT ""
#endif

const char *pantler_commit(void) { return PANTLER_COMMIT; }
