"""Text of the packages that `bench new` writes: one module for each kind of component, and what lies around it.

`$name` is the component, `$Class` its class, `$kind` what it is. The files end in `.txt`, so that no tool reads them as
code of this project.
"""
