"""Trained models as files that run without this framework, and the gate that holds each against its original."""
