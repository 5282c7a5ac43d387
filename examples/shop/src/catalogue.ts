/** What the shop sells, at which price, and how many it has to begin with. */
export const catalogue = [
  { sku: "teapot", price: 30, available: 100 },
  { sku: "lamp", price: 80, available: 100 },
  { sku: "piano", price: 4900, available: 3 }
]
