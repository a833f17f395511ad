"""Speed and memory of the extension, measured on the request path that users take."""
