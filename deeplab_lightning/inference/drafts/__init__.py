"""Drafts of annotations: class maps written in the forms of annotation tools, to be corrected there by hand."""
