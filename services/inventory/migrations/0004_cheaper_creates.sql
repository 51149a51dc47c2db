-- A product and its stock are only ever inserted together, by one statement, and neither is ever
-- deleted. The constraint cost each create a lookup, a row lock and its log record.
alter table inventory.stock drop constraint stock_product_fkey;
