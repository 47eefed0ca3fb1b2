"""A memory for other programs: a REST API (`app`) and an MCP server (`mcp_server`) over one `MemoryAgent`.

Invariant: a caller names a user and never a file; no text reaches the model or the memory before `limits.Guard` has
looked at the request.
"""
