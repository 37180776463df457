"""From confusion counts to scores, and measures of boundaries. Only the modules that count in torch load torch."""
