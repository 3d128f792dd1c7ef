"""Exports of real libraries with their converters, served and compared with what they predict."""
