"""The API's routes, one noun a file: read the request, call what knows, shape the answer."""
