"""Groups and versions of the API that extension servers serve: requests go there, and their discovery comes here."""
