"""The embedded WebUI's counterpart of AUTOMATIC1111's package `modules`: same names, signatures and order of calls as
version 1.10.1.
"""
