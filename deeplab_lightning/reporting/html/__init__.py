"""Parts of a report that is one HTML file: the page, charts, tables, and the viewer of images.

They are strings of HTML. Nothing in a page comes from elsewhere: styles and scripts stand in it, images are data
URIs, and its content security policy forbids the rest.
"""
