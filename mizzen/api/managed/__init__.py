"""Who manages which field of an object, and what applying does with it: server-side apply and `managedFields`.

Its own small world over JSON values; see the README beside this file.
"""
