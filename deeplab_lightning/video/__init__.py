"""Segmenting videos and folders of frames, frame by frame, in bounded memory. PyAV is needed: the extra `video`."""
