"""Turn records into what people read: tables, comparisons, pictures, pages."""
