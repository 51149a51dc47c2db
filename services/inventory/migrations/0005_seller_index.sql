-- Statements are planned once a connection, among however few products there are then. An index that
-- begins with the seller like products_sku looked as good for finding a sku while there were a few
-- hundred products, and was read from end to end ever after. Under an expression of its own, each of
-- the two serves only what it is for.
drop index inventory.products_seller;
create index products_seller on inventory.products (uuid_send(seller_id), id);
