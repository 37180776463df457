"""Parts of a report that is one HTML file: the page, charts, tables, and the viewer of pictures.

They are strings of HTML. Nothing in a page comes from elsewhere: styles and scripts stand in it, pictures are data
URIs, and its content security policy forbids the rest.
"""
