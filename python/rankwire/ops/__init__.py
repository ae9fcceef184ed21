"""Operations: what the server tells about itself."""
