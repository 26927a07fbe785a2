#include "documents.h"

// Clang takes C23's #embed in every mode, and says so.
#pragma clang diagnostic ignored "-Wc23-extensions"

const unsigned char pantler_openapi[] = {
#embed "../../openapi/openapi.yaml"
};

const size_t pantler_openapi_size = sizeof pantler_openapi;
