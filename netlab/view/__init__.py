"""The live picture of a lab: from Snapshots to DOT to SVG to a widget."""
