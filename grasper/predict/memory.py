def require_memory(config, tables):
    pass
