internal import CPantler

/// `openapi/openapi.yaml`, which the compiler has put into the executable.
enum OpenAPIDocument {
    static let bytes = [UInt8](UnsafeRawBufferPointer(start: pantler_openapi(), count: pantler_openapi_size()))
}
