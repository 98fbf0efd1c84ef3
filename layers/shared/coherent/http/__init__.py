"""HTTP as API Gateway delivers it: requests, responses, forms and ETags."""
