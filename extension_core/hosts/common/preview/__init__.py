"""The DT-preview in a host: recording its generations, decoding their frames, routes, files and the API's answer."""
