"""Claims of papers, judged by records.

folders.py  Finds the folders of claim files: the project's own, and those that other packages announce
"""
