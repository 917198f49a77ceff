module eastwest.invalid/images/samples

go 1.26.0
